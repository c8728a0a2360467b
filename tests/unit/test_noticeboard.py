from caravan.noticeboard import Noticeboard


def test_the_group_that_misses_fewest_comes_first() -> None:
    board = Noticeboard()
    board.saw("tea", "far", missing=4)
    board.saw("tea", "near", missing=1)
    board.saw("cups", "other", missing=1)

    assert board.best("tea", customer="li") == "near"


def test_a_customer_is_not_sent_to_their_own_group() -> None:
    board = Noticeboard()
    board.saw("tea", "mine", missing=1, customer="li")

    assert board.best("tea", customer="li") is None
    assert board.best("tea", customer="wang") == "mine"


def test_full_and_closed_groups_are_not_offered() -> None:
    board = Noticeboard()
    board.saw("tea", "full", missing=1)
    board.saw("tea", "over", missing=2)

    board.is_full("tea", "full")
    board.is_over("tea", "over")

    assert board.best("tea", customer="li") is None


def test_it_asks_again_only_when_something_may_have_changed() -> None:
    board = Noticeboard()
    assert not board.is_stale("tea")

    board.saw("tea", "full", missing=0, customer="li")
    assert board.is_stale("tea")

    board.listed("tea", {})
    assert not board.is_stale("tea")


def test_a_list_shows_seats_that_became_free_and_keeps_who_is_in() -> None:
    board = Noticeboard()
    board.saw("tea", "mine", missing=0, customer="li")

    board.listed("tea", {"mine": 1})

    assert board.best("tea", customer="li") is None
    assert board.best("tea", customer="wang") == "mine"


def test_who_turned_out_to_be_a_member_is_not_sent_again() -> None:
    board = Noticeboard()
    board.saw("tea", "group", missing=1)

    board.has("tea", "group", customer="li")

    assert board.best("tea", customer="li") is None

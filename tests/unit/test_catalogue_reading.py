"""Reading catalogue files: plain values, and the line of every problem."""

import json

import pytest

from operations.catalogue_reading import Unreadable, read


def refusal(content: str | bytes) -> tuple[int | None, str, str]:
    data = content.encode() if isinstance(content, str) else content
    with pytest.raises(Unreadable) as caught:
        read(data, name="shop.yaml")
    problem = caught.value.problem
    return problem.line, problem.field, problem.rule


def test_yaml_and_json_say_the_same() -> None:
    yaml_text = """
products:
  - sku: tea
    weight_grams: 260
    lon: 120.5
    cut_off: 18:00
    on: true
    nothing:
    quoted: "12"
"""
    value = {
        "products": [
            {
                "sku": "tea",
                "weight_grams": 260,
                "lon": 120.5,
                "cut_off": "18:00",
                "on": True,
                "nothing": None,
                "quoted": "12",
            }
        ]
    }

    assert read(yaml_text.encode(), name="a").value == value
    assert read(json.dumps(value).encode(), name="b").value == value


@pytest.mark.parametrize(
    "word", ["yes", "off", "010", "0x1f", "1_000", "1:30", ".inf", "2011-12-05"]
)
def test_what_yaml_only_guesses_stays_text(word: str) -> None:
    assert read(f"value: {word}".encode(), name="a").value == {"value": word}


def test_problems_carry_the_line_of_their_field_in_both_notations() -> None:
    yaml_text = "products:\n  - sku: tea\n    weight_grams: 0\n"
    json_text = '{\n\t"products": [\n\t\t{"sku": "tea",\n\t\t "weight_grams": 0}\n\t]\n}'

    for text, line in ((yaml_text, 3), (json_text, 4)):
        problem = read(text.encode(), name="shop").problem(("products", 0, "weight_grams"), "bad")
        assert str(problem) == f"shop:{line}: products[0].weight_grams: bad"
        assert problem.pointer == "/products/0/weight_grams"


def test_a_missing_field_has_the_line_of_what_it_is_missing_from() -> None:
    document = read(b"products:\n  - name: x\n  - name: y\n", name="shop")

    assert document.problem(("products", 1, "sku"), "missing").line == 3


def test_a_field_that_comes_twice_is_refused() -> None:
    assert refusal("products: []\nproducts: []\n") == (2, "", "the field 'products' comes twice")
    assert refusal('{"a": 1, "a": 2}')[2] == "the field 'a' comes twice in one object"


def test_aliases_and_tags_are_refused() -> None:
    bomb = "a: &a [x, x]\nb: [*a, *a]\n"

    assert refusal(bomb) == (2, "", "anchors and aliases are not taken; write it out")
    assert refusal("a: !!python/object:os.system x\n")[0] == 1


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("a: [1, 2\nb: 3\n", 2),
        ('{"a": 1,\n "b": }', 2),
        ('{"a": NaN}', None),
        ('{"a": 1' + "0" * 5000 + "}", None),
        (b"a: 1\nb: \xff\n", 2),
        ("[" * 100_000, None),
        ("- " * 100_000, None),
        ('{"a":' * 100_000, None),
        ("a: 1\n---\nb: 2\n", 2),
    ],
)
def test_what_is_no_document_is_refused_with_its_line(
    content: str | bytes, line: int | None
) -> None:
    found, _, rule = refusal(content)

    assert rule
    if line is not None:
        assert found == line

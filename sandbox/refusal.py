"""The one error of all companies: a status, a code and a sentence."""


class Refusal(Exception):
    """A company's answer that is not a success; on the wire `{code, message}`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message = status, code, message

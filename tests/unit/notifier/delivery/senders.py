"""A sender whose requests a test answers."""

from collections.abc import Callable

from beacon.notifier.transport import answer

Done = Callable[[answer.EndpointAnswer], None]


def _unused(_error: Exception) -> None:
    raise AssertionError


class Sender:
    """Keeps the requests until the test answers them."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.waiting: list[Done] = []
        self.broke: Callable[[Exception], None] = _unused
        self.resets = 0
        self.secrets_version = 0
        self.missing = ""
        self.checks = 0

    def check_secrets(self) -> None:
        self.checks += 1

    def send(self, _body: bytes, *, event_id: str, timeout_s: float, done: Done) -> None:
        assert timeout_s > 0
        self.sent.append(event_id)
        self.waiting.append(done)

    def expire(self, before: float) -> None:
        pass

    def cancel_all(self) -> None:
        pass

    def on_broken(self, act: Callable[[Exception], None]) -> None:
        self.broke = act

    def reset(self) -> None:
        self.resets += 1
        self.waiting.clear()

    def answer(self, status: int = 204, *, retry_after: str | None = None) -> None:
        """Answer the oldest request; 0: its connection broke."""
        code = str(status) if status else answer.NETWORK
        self.waiting.pop(0)(answer.EndpointAnswer(code=code, status=status, retry_after=retry_after))

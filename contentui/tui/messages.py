"""What travels from the workers to the screens: data, in the past tense."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from contentui.content.errors import ContentError
    from contentui.monitor.model import StoreView


class StoreViewTaken(Message, bubble=False):
    """The monitor made a view. A view that was not handled yet is replaced by the next."""

    def __init__(self, store_view: StoreView) -> None:
        super().__init__()
        self.store_view = store_view

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, StoreViewTaken)


class StoreOpened(Message, bubble=False):
    """The store is there."""

    def __init__(self, read_only_reason: str) -> None:
        super().__init__()
        self.read_only_reason = read_only_reason


class StoreFailed(Message, bubble=False):
    """The store could not be opened, or the monitor ended; another try is under way."""

    def __init__(self, error: ContentError, retry_in_s: float) -> None:
        super().__init__()
        self.error = error
        self.retry_in_s = retry_in_s


class CopyRequested(Message):
    """A text is to be put on the terminal's clipboard."""

    def __init__(self, text: str, what: str) -> None:
        """``what`` names the text in the notification, as in ``the ref``."""
        super().__init__()
        self.text = text
        self.what = what

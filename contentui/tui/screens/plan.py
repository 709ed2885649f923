"""A plan, item by item, and the confirmation that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from contentui.actions.model import Concern, Plan, Step, Verb
from contentui.content.model import Status
from contentui.glyphs import GLYPHS
from contentui.present.plans import (
    GROUPED_FROM,
    StepGroup,
    concern_lines,
    count_text,
    group_facts,
    lost_text,
    plan_groups,
    plan_notes,
    step_facts,
)
from contentui.stores.source import of_store
from contentui.text import visible
from contentui.tui.messages import CopyRequested
from contentui.tui.text_view import Line, TextView

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from textual.app import ComposeResult
    from textual.events import Key

Decision = frozenset[Concern] | None
"""The concerns that were confirmed, or None for no."""

_SHOWN_IN_COMMAND = 600
"""Characters of arguments that the command for a shell shows."""
_NUMBERED = 9
"""Groups that a digit opens."""
_MOST_LISTED = 500
"""Items of an open group that are listed."""
_MAX_REFERRERS = 20
"""Referrers of one item that are listed by name."""
_STYLES = {"text": "plain", "muted": "dim", "warning": "warn", "danger": "bad"}


def command_line(plan: Plan, *, limit: int | None = None) -> str:
    """The same plan as a command for a shell; arguments beyond ``limit`` characters are counted."""
    import shlex

    able = list(plan.able())
    words = ["contentui", "--store", shlex.quote(_command_source(plan, able)), plan.verb.value]
    if plan.concerns:
        words.append("--force")
    arguments: list[str] = []
    room = limit
    for step in able:
        argument = shlex.quote(step.name)
        if room is not None:
            room -= len(argument) + 1
            if room < 0 and arguments:
                arguments.append(f"{GLYPHS.pending} and {len(able) - len(arguments):,} more")
                break
        arguments.append(argument)
    return " ".join((*words, *arguments))


def _command_source(plan: Plan, steps: Sequence[Step]) -> str:
    """The plan's source; with the namespace that all its ingests share, as a ref needs one."""
    source = of_store(plan.source)
    if plan.verb not in (Verb.ABORT, Verb.TRUNCATE):
        return source.text
    namespaces = {s.target.namespace for s in steps if isinstance(s.target, Status)}
    return source.narrowed(namespaces.pop()).text if len(namespaces) == 1 else source.text


def step_lines(step: Step, plan: Plan, now_ns: int = 0) -> list[Line]:
    """One item: name, what is lost, what happens, who holds or needs it, what is refused."""
    name = visible(step.name)
    if isinstance(step.target, Status) and name.startswith("id:") and step.target.ref:
        name = f"{name}  ({visible(step.target.ref, 200)})"
    mark = GLYPHS.refused if step.refusal else "!" if step.concerns else GLYPHS.bullet
    style = "warn" if step.concerns and not step.refusal else "plain"
    lines = [Line(name, style, mark, "bad" if step.refusal else style, hang=2)]
    lines += [
        Line(fact.text, _STYLES[fact.style], fact.label, "dim", indent=2, hang=9)
        for fact in step_facts(step, plan, now_ns, max_referrers=_MAX_REFERRERS)
        if fact.label not in ("item", "concern")
    ]
    if step.referrers is None and not step.refusal:
        lines.append(Line("unknown", "warn", "needed", "dim", indent=2, hang=9))
    return lines


class PlanScreen(ModalScreen[Decision]):
    """Lists exactly what a verb would do and returns the decision. Focus starts on Cancel."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="plan.cancel"),
        Binding("up", "scroll('up')", "Up", show=False),
        Binding("down", "scroll('down')", "Down", show=False),
        Binding("pageup", "scroll('page_up')", "Page up", show=False),
        Binding("pagedown", "scroll('page_down')", "Page down", show=False),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
        Binding("y", "copy", "Copy the command", id="plan.copy"),
    ]

    def __init__(self, plan: Plan, now_ns: int) -> None:
        super().__init__()
        self.plan = plan
        self._now_ns = now_ns
        self.word = plan.verb.value
        self._able = sum(1 for _ in plan.able())
        self._refused = len(plan.steps) - self._able
        self._groups = plan_groups(plan) if len(plan.steps) > GROUPED_FROM else []
        """Empty: each item is listed."""
        self._opened: set[int] = set()
        """Numbers of the groups whose items are listed."""

    @property
    def needs_typing(self) -> bool:
        """Whether confirming takes more than Enter."""
        return bool(self._able and self.plan.concerns)

    def compose(self) -> ComposeResult:
        with Vertical(id="plan") as box:
            box.border_title = self._title()
            yield Static(self._summary(), id="plan-summary", markup=False)
            yield TextView(self.lines(), id="plan-items")
            if self.needs_typing:
                yield Static("\n".join(concern_lines(self.plan)), id="plan-concerns", markup=False)
                with Horizontal(id="plan-word"):
                    yield Static(f"Type {self.word} to confirm: ", id="plan-ask", markup=False)
                    yield Input(id="plan-input", compact=True, select_on_focus=False)
            with Horizontal(id="plan-buttons"):
                yield Button("Cancel" if self._able else "Close", id="plan-cancel", compact=True)
                if self._able:
                    yield Button(
                        f"{self.word.capitalize()} {self._able:,}",
                        id="plan-confirm",
                        variant="error",
                        compact=True,
                        disabled=self.needs_typing,
                    )

    def _title(self) -> str:
        verb = self.word.capitalize()
        if not self._able:
            return f"{verb}: refused"
        return f"{verb} {count_text(self.plan.verb, self._able)}"

    def _summary(self) -> str:
        if not self._able:
            return f"Nothing can be done: {count_text(self.plan.verb, self._refused)} refused."
        lost = lost_text(self.plan)
        text = f"{lost[0].upper()}{lost[1:]} will be gone for good."
        if self._refused:
            text += f" {self._refused:,} of {len(self.plan.steps):,} are refused."
        return text

    def lines(self) -> list[Line]:
        """What the plan would do, item by item or in groups."""
        lines: list[Line] = []
        if self._groups:
            for number, group in enumerate(self._groups, start=1):
                lines += self._group_lines(number, group)
        else:
            for step in sorted(self.plan.steps, key=lambda s: (not s.refusal, not s.concerns)):
                lines += step_lines(step, self.plan, self._now_ns)
        if self._able:
            lines += [Line(""), *(Line(note, "dim") for note in plan_notes(self.plan))]
            shell = visible(command_line(self.plan, limit=_SHOWN_IN_COMMAND), 4096)
            lines += [Line(shell, "key", "shell", "dim", hang=7)]
        return lines

    def _group_lines(self, number: int, group: StepGroup) -> Iterator[Line]:
        """The facts about a group, and its items when it is open."""
        first, *others = group_facts(group, self.plan, self._now_ns)
        is_open = number in self._opened
        key = f"  ({number} {'closes' if is_open else 'lists them'})" if number <= _NUMBERED else ""
        style = "bad" if group.refusal else "warn" if group.concerns else "plain"
        mark = GLYPHS.refused if group.refusal else "!" if group.concerns else GLYPHS.bullet
        yield Line(f"{first.text}{key}", style, mark, style, hang=2)
        for fact in others:
            yield Line(fact.text, _STYLES[fact.style], fact.label, "dim", indent=2, hang=9)
        if is_open:
            for step in group.steps[:_MOST_LISTED]:
                yield from step_lines(step, self.plan, self._now_ns)
            if (more := len(group.steps) - _MOST_LISTED) > 0:
                yield Line(f"and {more:,} more: the command below lists all with --dry-run")

    def on_mount(self) -> None:
        self.query_one("#plan-cancel").focus()
        self._fit()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        """Give the list the height it needs, at most what the screen has."""
        view = self.query_one(TextView)
        width = min(self.size.width, 96) - 4
        fixed = 9 + (len(concern_lines(self.plan)) + 2 if self.needs_typing else 0)
        room = max(self.size.height - fixed, 3)
        view.styles.height = min(view.rows_at(width), room)

    def on_key(self, event: Key) -> None:
        """A digit opens or closes that group; letters go into the field that asks for the word."""
        digit = event.character or ""
        if digit in "123456789" and digit and int(digit) <= len(self._groups):
            self._opened ^= {int(digit)}
            self.query_one(TextView).show(self.lines())
            event.stop()
            return
        if self.needs_typing and event.is_printable and not isinstance(self.focused, Input):
            field = self.query_one(Input)
            field.focus()
            field.insert_text_at_cursor(event.character or "")
            event.stop()

    @on(Input.Changed, "#plan-input")
    def _typed(self, event: Input.Changed) -> None:
        self.query_one("#plan-confirm", Button).disabled = not self._is_word(event.value)

    @on(Input.Submitted, "#plan-input")
    def _entered(self, event: Input.Submitted) -> None:
        if self._is_word(event.value):
            self.dismiss(self.plan.concerns)

    @on(Button.Pressed, "#plan-confirm")
    def _confirmed(self) -> None:
        if not self.needs_typing or self._is_word(self.query_one(Input).value):
            self.dismiss(self.plan.concerns)

    def _is_word(self, text: str) -> bool:
        return text.strip().lower() == self.word

    @on(Button.Pressed, "#plan-cancel")
    def action_cancel(self) -> None:
        """Do nothing at all."""
        self.dismiss(None)

    def action_scroll(self, how: str) -> None:
        """Move the list, whatever has the focus."""
        getattr(
            self.query_one(TextView), f"action_{'scroll_' if how in ('up', 'down') else ''}{how}"
        )()

    def action_copy(self) -> None:
        """Put the command for a shell on the clipboard."""
        self.post_message(CopyRequested(command_line(self.plan), "the command"))

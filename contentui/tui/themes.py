"""Our two themes: calm greys, and colour only where it carries a state."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="contentui-dark",
    primary="#7aa2f7",
    secondary="#bb9af7",
    accent="#7dcfff",
    success="#9ece6a",
    warning="#e0af68",
    error="#f7768e",
    foreground="#c8d0e8",
    background="#16171f",
    surface="#1b1d27",
    panel="#262a3a",
    dark=True,
    variables={
        "block-cursor-background": "#2f3b62",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-blurred-background": "#23283b",
        "block-cursor-blurred-foreground": "#c8d0e8",
        "block-cursor-text-style": "none",
        "footer-key-foreground": "#7aa2f7",
    },
)

LIGHT = Theme(
    name="contentui-light",
    primary="#2e5fc4",
    secondary="#7a3fb0",
    accent="#0f6f9c",
    success="#3d7a1f",
    warning="#945a00",
    error="#b8203f",
    foreground="#24283b",
    background="#fafafc",
    surface="#f2f3f7",
    panel="#e3e6ef",
    dark=False,
    variables={
        "block-cursor-background": "#c9d7f8",
        "block-cursor-foreground": "#0b1020",
        "block-cursor-blurred-background": "#e3e6ef",
        "block-cursor-blurred-foreground": "#24283b",
        "block-cursor-text-style": "none",
        "footer-key-foreground": "#2e5fc4",
    },
)

ANSI = "ansi-dark"
"""Textual's theme of the terminal's own sixteen colours: the cheapest to send."""

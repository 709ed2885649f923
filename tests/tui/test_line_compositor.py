"""An update renders the lines that changed, and shows the same as a whole frame."""

from frozen import FrozenSession, store_view
from running import running
from textual.geometry import Region

from contentui.tui.live_table import LiveTable


async def test_two_lines_far_apart_render_two_lines_of_each_widget(monkeypatch):
    async with running(FrozenSession(store_view()), size=(120, 40)) as ui:
        await ui.shown()
        rendered = []
        original = LiveTable.render_lines

        def counted(self, crop):
            rendered.append(crop)
            return original(self, crop)

        compositor = ui.dashboard._compositor
        whole = compositor.render_strips()
        monkeypatch.setattr(LiveTable, "render_lines", counted)
        compositor._dirty_regions |= {Region(0, 4, 120, 1), Region(0, 35, 120, 1)}
        update = compositor.render_partial_update()
        assert rendered
        assert all(crop.height == 1 for crop in rendered)
        for y, _, _ in update.spans:
            text = "".join(strip.text for strip in update.chops[y].values())
            assert text == whole[y].text

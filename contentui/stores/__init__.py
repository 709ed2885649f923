"""Where content lives, each kind behind `contentui.content.store.Store`."""

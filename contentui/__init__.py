"""contentui: a dashboard and a toolbox for container content stores."""

__version__ = "0.1.0"

"""The whole path in a browser, for people who do not program: `graft studio`."""

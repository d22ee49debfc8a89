"""One server process, started, watched and restarted."""

"""The command line, the stack supervisor, the clerk, demo and replay."""

"""The door: how a command line becomes plain objects, and what is told of a wrong one."""

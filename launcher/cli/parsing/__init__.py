"""How the command line is read: options in groups, from variables and a file; hints."""

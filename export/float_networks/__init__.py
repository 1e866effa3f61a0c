"""Float networks and data from elsewhere: files of other programs, told by what is in them, and classes by name."""

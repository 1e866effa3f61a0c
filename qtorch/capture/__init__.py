"""What the user wrote, as a graph of calls, compared with the network itself."""

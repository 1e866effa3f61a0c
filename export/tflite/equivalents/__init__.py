"""What other writers put into files, in the operators and forms that rows know; nothing that is computed changes."""

"""What an export asks of a trained Lightning run."""

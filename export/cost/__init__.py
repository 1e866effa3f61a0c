"""What an inference takes: bytes, instructions, time and energy, on machines and boards."""

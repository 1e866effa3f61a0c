"""Vehicle fuel consumption: engine size, cylinders and CO2 to L/100 km."""

"""What a method sees and is: windows, factories, probes, our own model."""

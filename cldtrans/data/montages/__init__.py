"""Names of channels: electrodes, leads, montages, references."""

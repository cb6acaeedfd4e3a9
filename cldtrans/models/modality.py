"""What differs between EEG and ECG inside the model."""

MODALITIES = ("eeg", "ecg")
RATE_HZ = {"eeg": 160.0, "ecg": 500.0}
PATCH = {"eeg": 10, "ecg": 20}  # samples a token

"""HBN-EEG: labels, targets and division of the EEG Foundation Challenge 2025, from its BIDS tables alone.

Source: Shirazi et al. 2024, doi 10.1101/2024.10.03.615261, of the Healthy Brain Network (Alexander et al.
2017, doi 10.1038/sdata.2017.181); OpenNeuro ds005505 to ds005516, releases R1 to R11, CC BY-SA 4.0. Some
3000 persons of 5 to 21 years, 129 electrodes, 500 Hz.
Challenge 1: when a button is pressed after a contrast change, from 2 s of EEG (`trials`).
Challenge 2: the externalizing factor of a person, from any of his recordings (`participants`).
Split: by release, so by person.
"""

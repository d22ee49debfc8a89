"""What is measured. Each function is one round; rounds are repeated, so that the peers alternate.

A round returns samples: dictionaries with the scenario, who was measured, and numbers.
"""

"""What is made of the samples: tables and a picture, and of which machine they are."""

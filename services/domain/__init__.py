"""What the services share and is pure: pipeline file, features, encodings, models, snapshot codec."""

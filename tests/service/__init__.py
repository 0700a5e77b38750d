"""The parts of a service that its owner does not edit; run where they are rendered."""

"""Components of our own: what each shows comes in as a value, what a person does with it goes out as an event."""

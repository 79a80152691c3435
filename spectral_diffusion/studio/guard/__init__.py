"""The studio as a server that can be left open to others: who may come in, and what each may see and do."""

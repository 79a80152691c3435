"""The studio: everything this package does, in a browser, alone or for several people."""

import os

# Read by Gradio when it is imported and whenever something is made with it.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

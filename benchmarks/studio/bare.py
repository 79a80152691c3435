"""A page of Gradio's with five components and one listener: what a visit costs when there is nothing on the page."""

import sys

import gradio as gr


def main() -> None:
    """Serve it at the port that is given, without asking anybody anything."""
    with gr.Blocks(analytics_enabled=False) as page:
        text = gr.Textbox(label="Prompt")
        slider = gr.Slider(0, 1, 0.5, label="Strength")
        shown = gr.Textbox(label="Told")
        gr.Gallery(label="Pictures")
        press = gr.Button("Draw", elem_id="draw")
        press.click(lambda words, strength: f"{words} {strength}", [text, slider], shown)
        page.load(lambda: "ready", None, shown)
    page.launch(server_port=int(sys.argv[1]), quiet=True, share=False)


if __name__ == "__main__":
    main()

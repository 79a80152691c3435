"""How the studio looks: colours, type, and what the components lack. Nothing of it is fetched from elsewhere."""

import gradio as gr

ACCENT = gr.themes.Color(
    name="clay",
    c50="#fdf4f0", c100="#fae5dc", c200="#f4c8b7", c300="#eda588", c400="#e27c55", c500="#c2512c", c600="#ab4524",
    c700="#8b381e", c800="#6e2e1a", c900="#582717", c950="#30130b",
)  # fmt: skip
PAPER = gr.themes.Color(
    name="paper",
    c50="#faf8f5", c100="#f3efe9", c200="#e4ddd3", c300="#cdc3b6", c400="#a79f94", c500="#7d756b", c600="#5f574e",
    c700="#453f38", c800="#2b2723", c900="#211e1b", c950="#171513",
)  # fmt: skip
_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")


def theme() -> gr.themes.Base:
    """The theme, light and dark."""
    return gr.themes.Base(
        primary_hue=ACCENT,
        secondary_hue=ACCENT,
        neutral_hue=PAPER,
        font=list(_SANS),
        font_mono=list(_MONO),
        radius_size=gr.themes.sizes.radius_md,
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        button_primary_background_fill="*primary_500",
        button_primary_background_fill_hover="*primary_600",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        link_text_color="*primary_600",
        link_text_color_dark="*primary_300",
        input_background_fill_dark="*neutral_800",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
    )


CSS = """
.gradio-container { max-width: 1280px !important; width: 100%; margin: 0 auto !important; }
.gradio-container .block:not(.padded) > .html-container { padding: 0; }
.gradio-container h1 { font-size: 1.5rem; letter-spacing: -.02em; margin: 0; }
.masthead { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 16px; }
.masthead p { margin: 0; color: var(--body-text-color-subdued); }
.masthead form { margin-left: auto; }
#concepts-making ~ #concepts-detail { display: none; }
#concepts-editor { position: sticky; top: 8px; align-self: flex-start; }
.gradio-container button[role=tab][aria-selected=true] { color: var(--link-text-color); }
.hint, .hint p { color: var(--body-text-color-subdued); font-size: var(--text-sm); margin: 0; overflow-wrap: anywhere; }
.notice { border-left: 3px solid var(--color-accent); padding: 8px 12px; border-radius: 4px;
  background: var(--background-fill-secondary); overflow-wrap: anywhere; }
.gradio-container .grid-wrap { min-height: 0 !important; max-height: none !important; }
.while-open:not(:has(progress)) button { display: none; }
.progress-line { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: center; }
.progress-line progress { flex: 1 1 160px; height: 10px; }
.gradio-container progress { appearance: none; border: 0; border-radius: 99px; overflow: hidden;
  background: var(--border-color-primary); }
.gradio-container progress::-webkit-progress-bar { background: transparent; }
.gradio-container progress::-webkit-progress-value { background: var(--color-accent); border-radius: 99px; }
.gradio-container progress::-moz-progress-bar { background: var(--color-accent); border-radius: 99px; }
.gradio-container progress:indeterminate { animation: to-and-fro 2s ease-in-out infinite alternate;
  background: linear-gradient(90deg, transparent 40%, var(--color-accent) 40% 60%, transparent 60%) 0 0 / 300% 100%
  var(--border-color-primary); }
@keyframes to-and-fro { from { background-position: 25% 0; } to { background-position: 75% 0; } }
.scroll { overflow-x: auto; }
.scroll table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.scroll th, .scroll td { text-align: left; padding: 6px 10px; border-top: 1px solid var(--border-color-primary); }
.dark button[role=tab][aria-selected=true] { color: var(--primary-300); }
.gradio-container input.subdued { color: var(--body-text-color-subdued); }
.gradio-container button:focus-visible, .gradio-container input:focus-visible,
.gradio-container textarea:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 1px; }
@media (max-width: 640px) {
  .gradio-container main.fillable, .gradio-container .main { padding: 8px !important; }
}
@media (prefers-reduced-motion: reduce) {
  .gradio-container * { animation-duration: .01ms !important; transition-duration: .01ms !important; }
}
"""

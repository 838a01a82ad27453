"""The page: its tabs, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from .learn_tab import learn_tab
from .look_tab import look_tab
from .runs_tab import runs_tab

if TYPE_CHECKING:
    from .studio import Studio

CSS = """
#sheet img { object-fit: contain; }
#runs, #captions, #words { max-width: calc(100vw - 80px); overflow-x: auto; }
"""
EVERY = 1.0  # seconds between two looks at what goes on


def build(studio: Studio) -> gr.Blocks:
    """The page of a studio. All that it shows is the studio's, so every browser shows the same."""
    with gr.Blocks(title="ti_trainer", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown("# ti_trainer\nTeach Stable Diffusion a new word from a handful of pictures.")
        timer = gr.Timer(EVERY)
        with gr.Tabs():
            with gr.Tab("1 Learn", id="learn"):
                refresh_learn, shown_by_learn = learn_tab(studio)
            with gr.Tab("2 Runs", id="runs"):
                refresh_runs, shown_by_runs = runs_tab(studio, timer)
            with gr.Tab("3 Look", id="look"):
                refresh_look, shown_by_look = look_tab(studio, timer)
        page.load(refresh_learn, None, shown_by_learn)
        page.load(refresh_runs, None, shown_by_runs)
        page.load(refresh_look, None, shown_by_look)
    return page

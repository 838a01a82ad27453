"""The page: its tabs, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from .learn_tab import LearnTab
from .look_tab import LookTab
from .runs_tab import RunsTab

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
                learn = LearnTab(studio)
            with gr.Tab("2 Runs", id="runs"):
                runs = RunsTab(studio, timer)
            with gr.Tab("3 Look", id="look"):
                look = LookTab(studio, timer)
        page.load(learn.refresh, None, learn.shown)
        page.load(runs.refresh, None, runs.shown)
        page.load(look.refresh, None, look.shown)
    return page

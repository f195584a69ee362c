"""How plotly's figures look in the page."""

from __future__ import annotations

from typing import Any

PLOT_CONFIG = {"responsive": True, "displaylogo": False, "displayModeBar": False}


def plot_html(figure: Any, name: str) -> str:
    """The HTML of a figure in the style of the report; `name` is its id in the page."""
    figure.update_layout(
        template="none",
        showlegend=False,
        # A finger on a plot scrolls the page.
        dragmode=False,
        hovermode="closest",
        font={"family": "system-ui, sans-serif", "size": 12, "color": "#333"},
    )
    figure.update_xaxes(gridcolor="#e6e6e6", zeroline=False)
    figure.update_yaxes(gridcolor="#e6e6e6", zeroline=False)
    html: str = figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=name, config=PLOT_CONFIG
    )
    return html

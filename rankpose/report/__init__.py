"""From predictions to what people read; nothing here trains.

What are the figures (`tables`, `main_table`), what do they look like (`pictures`, `tiles`, `comparison`, `robustness`),
and where do they go: `page` is a training run's `report.html`, `evaluation` and `evaluation_page` are what an
evaluation leaves behind, `to_wandb` is what W&B gets of it.
"""

"""From predictions to what people read; nothing here trains.

What are the figures (`tables`, `main_table`), how are they written (`text_table`, `templates`), what do they look like
(`heads`, `panels`, `model_panels`, `training_panels`, `robustness`), and where do they go: `page` is `report.html`,
`results` is all that an evaluation leaves behind, `ablation` compares runs over seeds, `to_wandb` is what W&B gets.
"""

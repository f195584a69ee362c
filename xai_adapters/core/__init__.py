"""The algorithms, on torch and numpy alone; nothing here knows Captum, Alibi or SHAP."""

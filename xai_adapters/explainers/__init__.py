"""The registered explainers, one file for each library or method.

A maker is a function that takes a `Subject`, returns an `Explainer` and is decorated with
`xai_adapters.registry.registered`; the registry finds it in any file of this folder. Libraries are
imported inside makers, so that looking an explainer up imports none of them.
"""

# They are looked up by name: `xai_adapters.registry.explainer_entry`.
__all__: list[str] = []

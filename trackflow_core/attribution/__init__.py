"""From touches to credits. Pure: no clock, no randomness, no floats in money.

>>> attribution = attribute(touches, deal, model)     # doctest: +SKIP
>>> sum(credit.value for credit in attribution.credits) == deal.value   # doctest: +SKIP
True
"""

from trackflow_core.attribution.compare import CampaignComparison, Comparison, compare
from trackflow_core.attribution.fits import Fit, Path
from trackflow_core.attribution.ledger import Attribution, Splitting, attribute
from trackflow_core.attribution.models import BUILTIN_RULES, ChannelRule, Journey, Model, Rule

__all__ = [
    "BUILTIN_RULES",
    "Attribution",
    "CampaignComparison",
    "ChannelRule",
    "Comparison",
    "Fit",
    "Journey",
    "Model",
    "Path",
    "Rule",
    "Splitting",
    "attribute",
    "compare",
]

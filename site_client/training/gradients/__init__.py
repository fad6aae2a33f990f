"""Exact gradients of patients, clipped or plain, summed in one pass through the network.

To read in this order: ``clipped`` (the bound), ``engine`` (one pass), ``rules`` (one for each
kind of layer), ``correlation`` (convolutions), ``shares`` and ``grouping`` (bookkeeping);
``inspection`` refuses networks for which this would not be exact; ``plain`` is the sum without
a bound.
"""

from site_client.training.gradients.clipped import clipped_sum as clipped_sum
from site_client.training.gradients.inspection import refuse_unfit as refuse_unfit
from site_client.training.gradients.plain import plain_sum as plain_sum
from site_client.training.gradients.sums import GradientSum as GradientSum
from site_client.training.gradients.sums import Tensors as Tensors

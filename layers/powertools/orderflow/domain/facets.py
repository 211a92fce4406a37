"""Every facet of an order; importing this module registers their events, commands and rules.

Events are documented in this order. A facet comes after those that it imports.
"""

from orderflow.domain.placing import *  # isort: skip
from orderflow.domain.stock import *  # isort: skip
from orderflow.domain.screening import *  # isort: skip
from orderflow.domain.review import *  # isort: skip
from orderflow.domain.shipping import *  # isort: skip
from orderflow.domain.parcel_conditions import *  # isort: skip
from orderflow.domain.returns import *  # isort: skip
from orderflow.domain.payment import *  # isort: skip
from orderflow.domain.cancellation import *  # isort: skip
from orderflow.domain.invoicing import *  # isort: skip
from orderflow.domain.disputes import *  # isort: skip

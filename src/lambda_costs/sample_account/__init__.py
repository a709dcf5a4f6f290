"""Sample accounts: functions, metrics and logs drawn from a seed, with waste planted where we know it.

The numbers are invented, and plausible. Each function has hidden parameters (how its duration depends on memory, how
much memory it needs, how it runs on arm64); everything that an analysis sees is sampled from them with noise, and what
a change would truly save follows from them alone. Nothing here knows how an analysis works.

Everything is written through public AWS APIs, but only the embedded AWS takes it: AWS itself refuses metrics in its own
namespaces and log events older than two weeks.
"""

from lambda_costs.sample_account.account import Planted, SampleAccount, assemble, build
from lambda_costs.sample_account.function import SampleFunction
from lambda_costs.sample_account.seeding import seed_account

__all__ = ["Planted", "SampleAccount", "SampleFunction", "assemble", "build", "seed_account"]

"""What may be wanted of a file, but for its identity: for the property tests of both dialects."""

from collections.abc import Sequence

from hypothesis import strategies as st
from yaml_samples import AUTH

from edgeherd.config import Wanted


def wishes(variables: Sequence[str]) -> st.SearchStrategy[Wanted]:
    """Any of them together; `variables` are the names of edgeAgent's environment variables."""
    return st.builds(
        Wanted,
        hostname=st.none() | st.just("press-01"),
        agent_image=st.none() | st.just("registry.example/agent:1"),
        agent_auth=st.none() | st.just(AUTH),
        dynamic_reprovisioning=st.none() | st.booleans(),
        agent_env=st.dictionaries(st.sampled_from(variables), st.none() | st.text("xÄ\"' \n"), max_size=3),
    )

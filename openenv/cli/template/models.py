"""What goes into the environment and what comes out."""

from openenv import Action, Observation, field


class MyAction(Action):
    """A message to send."""

    message: str = field(description="Message to echo back")


class MyObservation(Observation):
    """The message as it came back."""

    echoed_message: str = field(default="", description="The echoed message")
    message_length: int = field(
        default=0, description="Length of the echoed message, in characters"
    )

"""The kernel manager for notebooks that run unattended.

nbclient can wait for ever on a reply that has already arrived: zmq's file descriptor signals a change only
once, and a message that comes while another one is being sent on the same socket can use up that signal
(jupyter/nbclient#312). Waiting in slices of half a second, and looking each time, cures it.
"""

from queue import Empty

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.manager import AsyncKernelManager
from traitlets import Type

SLICE = 0.5  # seconds between two looks at a socket


class PollingChannel(AsyncZMQSocketChannel):
    """A channel whose endless wait is a row of short ones."""

    async def get_msg(self, timeout=None):
        while timeout is None:
            try:
                return await super().get_msg(timeout=SLICE)
            except Empty:
                continue
        return await super().get_msg(timeout=timeout)


class PollingClient(AsyncKernelClient):
    """A client that reads replies through polling channels."""

    shell_channel_class = Type(PollingChannel)


class BatchKernelManager(AsyncKernelManager):
    """What papermill is given to start a kernel with."""

    client_class = "aqa_lib.batch.kernel.PollingClient"
    client_factory = Type(PollingClient)
    transport_encryption = "auto"  # where jupyter_client knows it; it also ends a warning per kernel

    async def _async_interrupt_kernel(self):
        """Not on the way to a shutdown: an idle kernel would print a KeyboardInterrupt, a busy one is killed."""
        if not self.shutting_down:
            await super()._async_interrupt_kernel()

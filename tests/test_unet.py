import pytest
import torch

from mrilab.unet import UNet


def awake(net, seed=0):
    """Give the layers that start at zero some weights, so that the output depends on everything."""
    generator = torch.Generator().manual_seed(seed)
    for p in net.parameters():
        if not p.any():
            p.data = 0.1 * torch.randn(p.shape, generator=generator)
    return net.eval()


@pytest.mark.parametrize("size", [(16, 16), (17, 16), (15, 33), (1, 9)])
def test_any_size(size):
    net = awake(UNet((4, 8, 12)))
    x = torch.randn(3, 2, *size)
    assert net(x, torch.zeros(3, 1)).shape == x.shape


@pytest.mark.parametrize("size", [(8, 8, 8), (5, 9, 4)])
def test_volumes_of_any_size(size):
    """The same network with another axis: a voxel's neighbours in all three directions matter to it."""
    net = awake(UNet((4, 8), dims=3))
    x = torch.randn(2, 2, *size)
    base = net(x, torch.zeros(2, 1))
    assert base.shape == x.shape
    for axis in (2, 3, 4):
        moved = x.clone()
        moved.select(axis, 1)[:] += 1
        assert (net(moved, torch.zeros(2, 1)) - base).select(axis, 0).abs().max() > 1e-3


def test_depends_on_every_condition():
    net = awake(UNet((4, 8), conditions=3))
    x = torch.randn(1, 2, 8, 8)
    base = net(x, torch.zeros(1, 3))
    for i in range(3):
        condition = torch.zeros(1, 3)
        condition[0, i] = 0.5
        assert (net(x, condition) - base).abs().max() > 1e-4


def test_far_away_pixels_do_not_matter():
    """The receptive field is finite and nothing is normalised over the slice: patches train whole slices."""
    net = awake(UNet((4, 8)))
    x = torch.randn(1, 2, 96, 96)
    with torch.no_grad():
        whole = net(x, torch.zeros(1, 1))
        part = net(x[..., :64, :64], torch.zeros(1, 1))
    assert torch.allclose(whole[..., :32, :32], part[..., :32, :32], atol=1e-5)
    assert not torch.allclose(whole[..., :64, :64], part, atol=1e-5)


def test_slices_do_not_mix():
    net = awake(UNet((4, 8)))
    x, condition = torch.randn(2, 2, 12, 12), torch.tensor([[-1.0], [0.3]])
    both = net(x, condition)
    for i in range(2):
        assert torch.allclose(both[i:i + 1], net(x[i:i + 1], condition[i:i + 1]), atol=1e-5)


def test_a_light_network_has_the_same_form_and_less_to_do():
    nets = [awake(UNet((8, 12, 16), light=light)) for light in (False, True)]
    x = torch.randn(2, 2, 21, 16)
    assert nets[1](x, torch.zeros(2, 1)).shape == x.shape
    one, other = (sum(p.numel() for p in net.parameters()) for net in nets)
    assert one - other == 2 * 8 * 8 * 8                 # two blocks at full resolution, 8 of 9 pixels of 8 x 8 channels

from torch import nn


class Mixer(nn.Module):
    def __init__(self, dim, kernel_size, dilation):
        super().__init__()
        half = dilation * (kernel_size - 1) // 2
        self.near = nn.Conv1d(dim, dim, kernel_size, padding=half)  # flagged: symmetric_convolution
        self.next = nn.Conv1d(dim, dim, 3, padding=1)  # flagged: symmetric_convolution
        self.point = nn.Conv1d(dim, dim, kernel_size=1, padding="same")

    def forward(self, x):
        x = x.transpose(1, 2)
        x = self.point(self.near(x))
        return self.next(x).transpose(1, 2)


model = Mixer(512, 3, 1)

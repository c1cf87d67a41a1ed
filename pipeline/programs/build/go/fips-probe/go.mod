module fipsprobe

go 1.21

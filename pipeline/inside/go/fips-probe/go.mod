module fipsprobe

go 1.20

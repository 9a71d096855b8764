"""What every chapter calls: its checked parameters, recorded numbers, judged claims and figures."""
